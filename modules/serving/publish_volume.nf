process PUBLISH_VOLUME {
    tag "${subject}"
    label 'process_medium'

    input:
    val subject
    tuple path(volume, stageAs: 'in/*'), path(volume_manifest, stageAs: 'in/*')
    tuple path(parts, stageAs: 'part?/*'), path(part_manifests, stageAs: 'part?/*')
    val flags

    output:
    tuple path("published/stack/${subject}.ome.zarr"), path("published/stack/${subject}.ome.zarr.manifest.json"), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    publish_volume.py ${flags} --volume ${volume} ${parts ? '--parts part*/volume.levels' : ''} --name ${subject} --output published/stack/${subject}.ome.zarr
    """

    stub:
    """
    stub.sh published/stack/${subject}.ome.zarr/ published/stack/${subject}.ome.zarr.manifest.json publish_volume.${subject}.provenance.json
    """
}
