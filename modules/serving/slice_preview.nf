process SLICE_PREVIEW {
    tag "${meta.id}"
    label 'process_single'

    input:
    tuple val(meta), path(volume), path(volume_manifest), path(notes)
    val flags

    output:
    path 'published/previews/stitched_slices/*.png', emit: pictures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    slice_preview.py ${flags} --volume ${volume} --notes ${notes} --slice ${meta.id} --output published/previews/stitched_slices/slice_${meta.id}.png
    """

    stub:
    """
    stub.sh published/previews/stitched_slices/slice_${meta.id}.png slice_preview.${meta.id}.provenance.json
    """
}
