process STITCH_MOTOR_ONLY {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'
    label 'gpu'

    input:
    tuple val(meta), path(grid, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    val flags

    output:
    tuple val(meta), path("published/diagnostics/motor_only_stitch/slice_${meta.id}_motor_only.ome.zarr"), path("published/diagnostics/motor_only_stitch/slice_${meta.id}_motor_only.ome.zarr.manifest.json"), path("published/diagnostics/motor_only_stitch/slice_${meta.id}_motor_only_tiles.csv"), path("published/diagnostics/motor_only_stitch/slice_${meta.id}_motor_only_seams.csv"), emit: slices, optional: true
    path "published/diagnostics/motor_only_stitch/*.{png,json}", emit: pictures, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    def out = "published/diagnostics/motor_only_stitch/slice_${meta.id}_motor_only"
    """
    stitch_motor_only.py ${flags} --grid ${grid} --slice ${meta.slice} --output ${out}.ome.zarr --tiles ${out}_tiles.csv --seams ${out}_seams.csv --picture ${out}.png
    """

    stub:
    def out = "published/diagnostics/motor_only_stitch/slice_${meta.id}_motor_only"
    """
    stub.sh ${out}.ome.zarr/ ${out}.ome.zarr.manifest.json ${out}_tiles.csv ${out}_seams.csv ${out}.png stitch_motor_only.${meta.slice}.provenance.json
    """
}
