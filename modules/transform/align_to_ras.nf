process ALIGN_TO_RAS {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    tuple path(template), path(template_manifest)
    val meta
    val flags

    output:
    tuple val(meta), path('volume.levels'), path('volume.levels.manifest.json'), emit: levels
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    align_to_ras.py ${flags} --volume ${volume} --template ${template} --block ${meta.block} --output volume.levels
    """

    stub:
    """
    stub.sh volume.levels/ volume.levels.manifest.json align_to_ras.${meta.block}.provenance.json
    """
}
