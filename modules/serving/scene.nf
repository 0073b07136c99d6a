process SCENE {
    label 'process_single'

    input:
    path transforms
    tuple path(volume), path(volume_manifest)

    output:
    path 'alignment.ome.zarr', emit: field
    path 'alignment.ome.zarr.manifest.json', emit: manifest
    path 'zarr.json', emit: scene
    path '*.provenance.json', emit: provenance

    script:
    """
    scene.py --transforms ${transforms} --volume ${volume} --field alignment.ome.zarr --scene zarr.json
    """

    stub:
    """
    stub.sh alignment.ome.zarr/ alignment.ome.zarr.manifest.json zarr.json scene.provenance.json
    """
}
