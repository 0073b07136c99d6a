process EVALUATE {
    label 'process_medium'

    input:
    tuple path(labels), path(labels_manifest)
    tuple path(truth), path(truth_manifest)
    path transforms
    val flags

    output:
    path 'score.json', emit: score
    path '*.provenance.json', emit: provenance

    script:
    """
    evaluate.py ${flags} --labels ${labels} --truth ${truth} --transforms ${transforms} --output score.json
    """

    stub:
    """
    stub.sh score.json evaluate.provenance.json
    """
}
