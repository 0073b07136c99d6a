process MULTISCALE {
    tag "${name}"
    label 'process_medium'
    label 'gpu'

    input:
    tuple val(name), path(volume, stageAs: 'in/*'), path(volume_manifest, stageAs: 'in/*'), path(labels, stageAs: 'in/*'), path(labels_manifest, stageAs: 'in/*'), path(parts, stageAs: 'part?/*'), path(part_manifests, stageAs: 'part?/*')
    val flags

    output:
    tuple path("${name}.ome.zarr"), path("${name}.ome.zarr.manifest.json"), emit: volume
    path '*.provenance.json', emit: provenance

    script:
    """
    multiscale.py ${flags} --volume ${volume} ${labels ? "--labels ${labels}" : ''} ${parts ? "--parts part*/${name}.levels" : ''} --name ${name} --output ${name}.ome.zarr
    """

    stub:
    """
    stub.sh ${name}.ome.zarr/ ${name}.ome.zarr.manifest.json multiscale.${name}.provenance.json
    """
}
