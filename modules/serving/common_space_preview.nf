process COMMON_SPACE_PREVIEW {
    label 'process_single'

    input:
    tuple path(volumes), path(manifests)
    val flags

    output:
    path 'published/common_space_previews/*.png', emit: pictures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    common_space_preview.py ${flags} --volumes ${volumes} --output published/common_space_previews
    """

    stub:
    """
    stub.sh published/common_space_previews/slice_z00.png common_space_preview.provenance.json
    """
}
