process REGISTER_TO_ATLAS {
    tag "${subject}"
    label 'process_high'

    input:
    val subject
    tuple path(volume), path(volume_manifest)
    path atlas, stageAs: 'atlas/*'
    val flags

    output:
    tuple path('ras.ome.zarr'), path('ras.ome.zarr.manifest.json'), emit: template, optional: true
    path "published/align_to_ras/${subject}_ras_transform.tfm", emit: transform, optional: true
    path "published/align_to_ras/${subject}_ras_preview.png", emit: picture, optional: true
    path 'blocks.csv', emit: blocks, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    register_to_atlas.py ${flags} --volume ${volume} --atlas ${atlas} --name ${subject} --template ras.ome.zarr --transform published/align_to_ras/${subject}_ras_transform.tfm --block_list blocks.csv --preview published/align_to_ras/${subject}_ras_preview.png
    """

    stub:
    """
    stub.sh ras.ome.zarr/ ras.ome.zarr.manifest.json published/align_to_ras/${subject}_ras_transform.tfm published/align_to_ras/${subject}_ras_preview.png 'blocks.csv=id,block\\n0.0-0,0.0-0\\n1.0-0,1.0-0' register_to_atlas.${subject}.provenance.json
    """
}
