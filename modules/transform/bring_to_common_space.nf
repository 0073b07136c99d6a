process BRING_TO_COMMON_SPACE {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'

    input:
    tuple val(meta), path(volume, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    path common_space
    val publish
    val flags

    output:
    tuple val(meta), path("${place}slice_${meta.id}_normalize.ome.zarr"), path("${place}slice_${meta.id}_normalize.ome.zarr.manifest.json"), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    place = publish ? 'published/bring_to_common_space/' : ''
    """
    bring_to_common_space.py ${flags} --volume ${volume} --common_space ${common_space} --slice ${meta.slice} --output ${place}slice_${meta.id}_normalize.ome.zarr
    """

    stub:
    place = publish ? 'published/bring_to_common_space/' : ''
    """
    stub.sh ${place}slice_${meta.id}_normalize.ome.zarr/ ${place}slice_${meta.id}_normalize.ome.zarr.manifest.json bring_to_common_space.${meta.slice}.provenance.json
    """
}
