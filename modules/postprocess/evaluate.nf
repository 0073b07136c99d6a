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
    path 'published/tables/truth_overlap.parquet', emit: overlap
    path 'published/tables/truth_skeletons.parquet', emit: skeletons
    path 'published/figures/threshold_curve.png', emit: figure, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    evaluate.py ${flags} --labels ${labels} --truth ${truth} --transforms ${transforms} --output published/tables/score.json --evaluation published/tables/evaluation.json --supervoxels ${supervoxels} --truth_overlap published/tables/truth_overlap.parquet --truth_skeletons published/tables/truth_skeletons.parquet ${forest ? "--overlaps ${overlaps} --forest ${forest} --figure published/figures/threshold_curve.png" : ''}
    """

    stub:
    """
    stub.sh published/tables/score.json published/tables/evaluation.json published/tables/truth_overlap.parquet published/tables/truth_skeletons.parquet evaluate.provenance.json
    """
}
