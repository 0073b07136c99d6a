process EVALUATE {
    label 'process_medium'

    input:
    tuple path(labels), path(labels_manifest)
    tuple path(supervoxels), path(supervoxels_manifest)
    path(overlaps, stageAs: 'overlaps?.npz')
    path forest
    tuple path(truth), path(truth_manifest)
    path transforms
    val flags

    output:
    path 'published/tables/score.json', emit: score
    path 'published/tables/evaluation.json', emit: evaluation
    path 'published/figures/threshold_curve.png', emit: figure, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    evaluate.py ${flags} --labels ${labels} --truth ${truth} --transforms ${transforms} --output published/tables/score.json --evaluation published/tables/evaluation.json ${forest ? "--supervoxels ${supervoxels} --overlaps ${overlaps} --forest ${forest} --figure published/figures/threshold_curve.png" : ''}
    """

    stub:
    """
    stub.sh published/tables/score.json published/tables/evaluation.json evaluate.provenance.json
    """
}
