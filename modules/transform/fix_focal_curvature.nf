process FIX_FOCAL_CURVATURE {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'

    input:
    tuple val(meta), path(grid, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    val flags

    output:
    tuple val(meta), path("published/fix_focal_curvature/mosaic_grid_3d_${meta.id}_focal_fix.ome.zarr"), path("published/fix_focal_curvature/mosaic_grid_3d_${meta.id}_focal_fix.ome.zarr.manifest.json"), emit: volume, optional: true
    tuple val(meta), path("${meta.id}_fix_focal_curvature.npz"), emit: notes, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    fix_focal_curvature.py ${flags} --grid ${grid} --slice ${meta.slice} --output published/fix_focal_curvature/mosaic_grid_3d_${meta.id}_focal_fix.ome.zarr --notes ${meta.id}_fix_focal_curvature.npz
    """

    stub:
    """
    stub.sh published/fix_focal_curvature/mosaic_grid_3d_${meta.id}_focal_fix.ome.zarr/ published/fix_focal_curvature/mosaic_grid_3d_${meta.id}_focal_fix.ome.zarr.manifest.json ${meta.id}_fix_focal_curvature.npz fix_focal_curvature.${meta.slice}.provenance.json
    """
}
