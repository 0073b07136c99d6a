process EVALUATE {
    label 'process_medium'

    input:
    tuple path(labels), path(labels_manifest)
    tuple path(truth), path(truth_manifest)
    path transforms
    val flags

    output:
    path 'published/tables/score.json', emit: score
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    evaluate.py ${flags} --labels ${labels} --truth ${truth} --transforms ${transforms} --output published/tables/score.json
    """

    stub:
    """
    stub.sh published/tables/score.json evaluate.provenance.json
    """
}
