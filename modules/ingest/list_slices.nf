process LIST_SLICES {
    label 'process_single'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    path(shifts_xy, stageAs: 'shifts/*')
    path(config, stageAs: 'config/*')
    val flags

    output:
    path 'slices.csv', emit: slices
    path 'slice_config.csv', emit: config
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    def known = config ? "--config ${config}" : ''
    """
    list_slices.py ${flags} --source ${source} --shifts_xy ${shifts_xy} ${known} --list slices.csv --used slice_config.csv
    """

    stub:
    """
    stub.sh 'slices.csv=id,slice,store\\nz00,0,mosaic_grid_3d_z00.ome.zarr\\nz02,2,mosaic_grid_3d_z02.ome.zarr' slice_config.csv list_slices.provenance.json
    """
}
