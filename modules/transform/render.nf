process RENDER {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    path transforms
    val meta
    val flags

    output:
    tuple val(meta), path('aligned.ome.zarr'), path('aligned.ome.zarr.manifest.json'), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    render.py ${flags} --volume ${volume} --transforms ${transforms} --block ${meta.block} --output aligned.ome.zarr
    """

    stub:
    """
    stub.sh aligned.ome.zarr/ aligned.ome.zarr.manifest.json render.provenance.json
    """
}
