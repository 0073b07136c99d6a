process COMPARE_STITCHING {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'

    input:
    tuple val(meta), path(motor, stageAs: 'motor/*'), path(motor_manifest, stageAs: 'motor/*'), path(motor_tiles, stageAs: 'motor/*'), path(motor_seams, stageAs: 'motor/*'), path(refined, stageAs: 'refined/*'), path(refined_manifest, stageAs: 'refined/*'), path(refined_tiles, stageAs: 'refined/*'), path(refined_seams, stageAs: 'refined/*')
    val flags

    output:
    path "published/diagnostics/stitch_comparison/slice_${meta.id}_comparison.png", emit: pictures
    path "published/diagnostics/stitch_comparison/slice_${meta.id}_comparison.json", emit: figures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    def out = "published/diagnostics/stitch_comparison/slice_${meta.id}_comparison"
    """
    compare_stitching.py ${flags} --motor ${motor} --refined ${refined} --motor_tables ${motor_tiles} ${motor_seams} --refined_tables ${refined_tiles} ${refined_seams} --slice ${meta.slice} --picture ${out}.png --figures ${out}.json
    """

    stub:
    def out = "published/diagnostics/stitch_comparison/slice_${meta.id}_comparison"
    """
    stub.sh ${out}.png ${out}.json compare_stitching.${meta.slice}.provenance.json
    """
}
