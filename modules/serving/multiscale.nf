process MULTISCALE {
    tag "${name}"
    label 'process_medium'
    label 'gpu'

    input:
    tuple val(name), path(volume), path(volume_manifest), path(labels), path(labels_manifest)
    val flags

    output:
    tuple path("${name}.ome.zarr"), path("${name}.ome.zarr.manifest.json"), emit: volume
    path '*.provenance.json', emit: provenance

    script:
    """
    multiscale.py ${flags} --volume ${volume} ${labels ? "--labels ${labels}" : ''} --output ${name}.ome.zarr
    """

    stub:
    """
    stub.sh ${name}.ome.zarr/ ${name}.ome.zarr.manifest.json multiscale.${name}.provenance.json
    """
}
