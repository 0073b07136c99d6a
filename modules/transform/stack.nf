process STACK {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volumes), path(manifests)
    path plan
    val meta
    val flags

    output:
    tuple val(meta), path('stack.ome.zarr'), path('stack.ome.zarr.manifest.json'), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    stack.py ${flags} --volumes ${volumes} --plan ${plan} --block ${meta.block} --output stack.ome.zarr
    """

    stub:
    """
    stub.sh stack.ome.zarr/ stack.ome.zarr.manifest.json stack.${meta.id}.provenance.json
    """
}
