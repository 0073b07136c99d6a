process RESAMPLE_MOSAIC_GRID {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'
    label 'gpu'

    input:
    tuple val(meta), path(grid, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    val flags

    output:
    tuple val(meta), path("published/resample_mosaic_grid/mosaic_grid_3d_${meta.id}_resampled.ome.zarr"), path("published/resample_mosaic_grid/mosaic_grid_3d_${meta.id}_resampled.ome.zarr.manifest.json"), emit: volume, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    resample_mosaic_grid.py ${flags} --grid ${grid} --slice ${meta.slice} --output published/resample_mosaic_grid/mosaic_grid_3d_${meta.id}_resampled.ome.zarr
    """

    stub:
    """
    stub.sh published/resample_mosaic_grid/mosaic_grid_3d_${meta.id}_resampled.ome.zarr/ published/resample_mosaic_grid/mosaic_grid_3d_${meta.id}_resampled.ome.zarr.manifest.json resample_mosaic_grid.${meta.slice}.provenance.json
    """
}
