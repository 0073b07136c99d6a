process ZIP_VOLUME {
    tag "${volume}"
    label 'process_single'

    input:
    tuple path(volume), path(volume_manifest)
    val flags

    output:
    path "published/stack/${volume}.zip", emit: archive
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    zip_volume.py ${flags} --volume ${volume} --output published/stack/${volume}.zip
    """

    stub:
    """
    stub.sh published/stack/${volume}.zip zip_volume.provenance.json
    """
}
