process ALIGN_PAIRS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    path facts
    val meta
    val flags

    output:
    tuple val(meta), path('pairs.npz'), emit: pairs
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    align_pairs.py ${flags} --volume ${volume} --facts ${facts} --block ${meta.block} --output pairs.npz
    """

    stub:
    """
    stub.sh pairs.npz align_pairs.provenance.json
    """
}
