process STITCH_REFINED {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'
    label 'gpu'

    input:
    tuple val(meta), path(grid, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    val flags

    output:
    tuple val(meta), path("published/diagnostics/refined_stitch/slice_${meta.id}_refined.ome.zarr"), path("published/diagnostics/refined_stitch/slice_${meta.id}_refined.ome.zarr.manifest.json"), path("published/diagnostics/refined_stitch/slice_${meta.id}_refined_tiles.csv"), path("published/diagnostics/refined_stitch/slice_${meta.id}_refined_seams.csv"), emit: slices, optional: true
    path "published/diagnostics/refined_stitch/*.{png,json}", emit: pictures, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    def out = "published/diagnostics/refined_stitch/slice_${meta.id}_refined"
    """
    stitch_refined.py ${flags} --grid ${grid} --slice ${meta.slice} --output ${out}.ome.zarr --tiles ${out}_tiles.csv --seams ${out}_seams.csv --picture ${out}.png --data ${out}_refinement.json
    """

    stub:
    def out = "published/diagnostics/refined_stitch/slice_${meta.id}_refined"
    """
    stub.sh ${out}.ome.zarr/ ${out}.ome.zarr.manifest.json ${out}_tiles.csv ${out}_seams.csv ${out}.png stitch_refined.${meta.slice}.provenance.json
    """
}
