process MULTISCALE {
    tag "${name}"
    label 'process_medium'
    label 'gpu'

    input:
    tuple val(name), path(volume, stageAs: 'in/*'), path(volume_manifest, stageAs: 'in/*'), path(labels, stageAs: 'in/*'), path(labels_manifest, stageAs: 'in/*'), path(parts, stageAs: 'part?/*'), path(part_manifests, stageAs: 'part?/*')
    val flags

    output:
    tuple path("published/volumes/${name}.ome.zarr"), path("published/volumes/${name}.ome.zarr.manifest.json"), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    multiscale.py ${flags} --volume ${volume} ${labels ? "--labels ${labels}" : ''} ${parts ? "--parts part*/${name}.levels" : ''} --name ${name} --output published/volumes/${name}.ome.zarr
    """

    stub:
    """
    stub.sh published/volumes/${name}.ome.zarr/ published/volumes/${name}.ome.zarr.manifest.json multiscale.${name}.provenance.json
    """
}
