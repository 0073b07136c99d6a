// The volumes of `connectome` have a folder; the one that another workflow makes lies at the root of the results.
def placeOf(name) {
    return name in ['raw', 'aligned', 'supervoxels'] ? "volumes/${name}.ome.zarr" : "${name}.ome.zarr"
}

process MULTISCALE {
    tag "${name}"
    label 'process_medium'
    label 'gpu'

    input:
    tuple val(name), path(volume, stageAs: 'in/*'), path(volume_manifest, stageAs: 'in/*'), path(labels, stageAs: 'in/*'), path(labels_manifest, stageAs: 'in/*'), path(parts, stageAs: 'part?/*'), path(part_manifests, stageAs: 'part?/*')
    val flags

    output:
    tuple path("published/${placeOf(name)}"), path("published/${placeOf(name)}.manifest.json"), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    multiscale.py ${flags} --volume ${volume} ${labels ? "--labels ${labels}" : ''} ${parts ? "--parts part*/${name}.levels" : ''} --name ${name} --output published/${placeOf(name)}
    """

    stub:
    """
    stub.sh published/${placeOf(name)}/ published/${placeOf(name)}.manifest.json multiscale.${name}.provenance.json
    """
}
