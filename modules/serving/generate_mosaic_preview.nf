process GENERATE_MOSAIC_PREVIEW {
    tag "${meta.id}"
    label 'process_single'

    input:
    tuple val(meta), path(grid), path(grid_manifest)
    val flags

    output:
    path 'published/previews/*.png', emit: figures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    generate_mosaic_preview.py ${flags} --grid ${grid} --slice ${meta.id} --output published/previews
    """

    stub:
    """
    stub.sh published/previews/mosaic_grid_${meta.id}_preview.png generate_mosaic_preview.${meta.id}.provenance.json
    """
}
