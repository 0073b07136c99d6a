process SCENE {
    label 'process_single'

    input:
    path transforms
    tuple path(volume), path(volume_manifest)
    val flags

    output:
    tuple path('published/volumes/alignment.ome.zarr'), path('published/volumes/alignment.ome.zarr.manifest.json'), emit: field
    path 'published/volumes/zarr.json', emit: scene
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    scene.py ${flags} --transforms ${transforms} --volume ${volume} --field published/volumes/alignment.ome.zarr --scene published/volumes/zarr.json
    """

    stub:
    """
    stub.sh published/volumes/alignment.ome.zarr/ published/volumes/alignment.ome.zarr.manifest.json published/volumes/zarr.json scene.provenance.json
    """
}
