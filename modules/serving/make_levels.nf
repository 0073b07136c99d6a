process MAKE_LEVELS {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    val meta
    val flags

    output:
    tuple val(meta), path('volume.levels'), path('volume.levels.manifest.json'), emit: levels
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    make_levels.py ${flags} --volume ${volume} --block ${meta.block} --output volume.levels
    """

    stub:
    """
    stub.sh volume.levels/ volume.levels.manifest.json make_levels.${meta.block}.provenance.json
    """
}
