process SIMULATE_MISALIGNMENT {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    val meta
    val flags

    output:
    tuple val(meta), path('jittered.ome.zarr'), path('jittered.ome.zarr.manifest.json'), emit: volume
    path 'published/tables/jitter.csv', emit: jitter
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    simulate_misalignment.py ${flags} --volume ${volume} --block ${meta.block} --output jittered.ome.zarr --jitter published/tables/jitter.csv
    """

    stub:
    """
    stub.sh jittered.ome.zarr/ jittered.ome.zarr.manifest.json published/tables/jitter.csv simulate_misalignment.provenance.json
    """
}
