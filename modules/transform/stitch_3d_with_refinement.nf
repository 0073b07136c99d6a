process STITCH_3D_WITH_REFINEMENT {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'

    input:
    tuple val(meta), path(grid, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    path transform
    val flags

    output:
    tuple val(meta), path("published/stitch_3d_with_refinement/slice_${meta.id}_stitch_3d.ome.zarr"), path("published/stitch_3d_with_refinement/slice_${meta.id}_stitch_3d.ome.zarr.manifest.json"), emit: volume, optional: true
    path "published/stitch_3d_with_refinement/slice_${meta.id}_tiles.csv", emit: tiles, optional: true
    path "published/stitch_3d_with_refinement/slice_${meta.id}_seams.csv", emit: seams, optional: true
    tuple val(meta), path("${meta.id}_stitch_3d_with_refinement.npz"), emit: notes, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    stitch_3d_with_refinement.py ${flags} --grid ${grid} --slice ${meta.slice} --output published/stitch_3d_with_refinement/slice_${meta.id}_stitch_3d.ome.zarr ${transform ? "--transform ${transform}" : ''} --tiles published/stitch_3d_with_refinement/slice_${meta.id}_tiles.csv --seams published/stitch_3d_with_refinement/slice_${meta.id}_seams.csv --notes ${meta.id}_stitch_3d_with_refinement.npz
    """

    stub:
    """
    stub.sh published/stitch_3d_with_refinement/slice_${meta.id}_stitch_3d.ome.zarr/ published/stitch_3d_with_refinement/slice_${meta.id}_stitch_3d.ome.zarr.manifest.json published/stitch_3d_with_refinement/slice_${meta.id}_tiles.csv published/stitch_3d_with_refinement/slice_${meta.id}_seams.csv ${meta.id}_stitch_3d_with_refinement.npz stitch_3d_with_refinement.${meta.slice}.provenance.json
    """
}
