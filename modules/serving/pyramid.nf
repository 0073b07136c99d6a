process PYRAMID {
    tag "${name} ${meta.block}"
    label 'process_medium'
    label 'per_block'
    label 'gpu'

    input:
    tuple val(name), path(volume), path(volume_manifest), path(labels), path(labels_manifest), val(meta)
    val flags

    output:
    tuple val(name), val(meta), path("${name}.levels"), path("${name}.levels.manifest.json"), emit: levels
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    pyramid.py ${flags} --volume ${volume} ${labels ? "--labels ${labels}" : ''} --name ${name} --block ${meta.block} --output ${name}.levels
    """

    stub:
    """
    stub.sh ${name}.levels/ ${name}.levels.manifest.json pyramid.${name}.provenance.json
    """
}
