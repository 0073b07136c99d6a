process FIX_ILLUMINATION {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'
    label 'gpu'

    input:
    tuple val(meta), path(grid, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    path light
    val flags

    output:
    tuple val(meta), path("published/fix_illumination/mosaic_grid_3d_${meta.id}_illum_fix.ome.zarr"), path("published/fix_illumination/mosaic_grid_3d_${meta.id}_illum_fix.ome.zarr.manifest.json"), emit: volume, optional: true
    tuple val(meta), path("${meta.id}_fix_illumination.npz"), emit: notes, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    fix_illumination.py ${flags} --grid ${grid} --slice ${meta.slice} --output published/fix_illumination/mosaic_grid_3d_${meta.id}_illum_fix.ome.zarr ${light ? "--light ${light}" : ''} --notes ${meta.id}_fix_illumination.npz
    """

    stub:
    """
    stub.sh published/fix_illumination/mosaic_grid_3d_${meta.id}_illum_fix.ome.zarr/ published/fix_illumination/mosaic_grid_3d_${meta.id}_illum_fix.ome.zarr.manifest.json ${meta.id}_fix_illumination.npz fix_illumination.${meta.slice}.provenance.json
    """
}
