process PREPARE_SLICE {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'
    label 'gpu'

    input:
    tuple val(meta), path(grid, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    path transform
    path light
    val flags

    output:
    tuple val(meta), path("published/normalize/slice_${meta.id}_normalize.ome.zarr"), path("published/normalize/slice_${meta.id}_normalize.ome.zarr.manifest.json"), emit: volume, optional: true
    path "published/stitch_3d_with_refinement/slice_${meta.id}_tiles.csv", emit: tiles, optional: true
    path "published/stitch_3d_with_refinement/slice_${meta.id}_seams.csv", emit: seams, optional: true
    tuple val(meta), path("${meta.id}_prepare_slice.npz"), emit: notes, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    prepare_slice.py ${flags} --grid ${grid} --slice ${meta.slice} --output published/normalize/slice_${meta.id}_normalize.ome.zarr ${transform ? "--transform ${transform}" : ''} ${light ? "--light ${light}" : ''} --tiles published/stitch_3d_with_refinement/slice_${meta.id}_tiles.csv --seams published/stitch_3d_with_refinement/slice_${meta.id}_seams.csv --notes ${meta.id}_prepare_slice.npz
    """

    stub:
    """
    stub.sh published/normalize/slice_${meta.id}_normalize.ome.zarr/ published/normalize/slice_${meta.id}_normalize.ome.zarr.manifest.json published/stitch_3d_with_refinement/slice_${meta.id}_tiles.csv published/stitch_3d_with_refinement/slice_${meta.id}_seams.csv ${meta.id}_prepare_slice.npz prepare_slice.${meta.slice}.provenance.json
    """
}
