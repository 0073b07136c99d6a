process CORRECT_BIAS_FIELD {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    path bias
    val meta
    val flags

    output:
    tuple val(meta), path('volume.levels'), path('volume.levels.manifest.json'), emit: levels
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    correct_bias_field.py ${flags} --volume ${volume} --bias ${bias} --block ${meta.block} --output volume.levels
    """

    stub:
    """
    stub.sh volume.levels/ volume.levels.manifest.json correct_bias_field.${meta.block}.provenance.json
    """
}
