process JOIN_LEVELS {
    tag "${name}"
    label 'process_single'

    input:
    tuple val(folder), val(name)
    tuple path(like, stageAs: 'like/*'), path(like_manifest, stageAs: 'like/*')
    tuple path(parts, stageAs: 'part?/*'), path(part_manifests, stageAs: 'part?/*')
    val flags

    output:
    tuple path("published/${folder}/${name}.ome.zarr"), path("published/${folder}/${name}.ome.zarr.manifest.json"), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    join_levels.py ${flags} --parts part*/volume.levels --like ${like} --name ${name} --output published/${folder}/${name}.ome.zarr
    """

    stub:
    """
    stub.sh published/${folder}/${name}.ome.zarr/ published/${folder}/${name}.ome.zarr.manifest.json join_levels.${name}.provenance.json
    """
}
