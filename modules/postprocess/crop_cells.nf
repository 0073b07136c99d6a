process CROP_CELLS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(movie), path(movie_manifest), path(tracked), path(tracked_manifest), path(background), path(background_manifest)
    path facts
    val flags

    output:
    tuple val(meta), path('cells'), path('cells.manifest.json'), emit: cells
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    crop_cells.py ${flags} --movie ${movie} --tracked ${tracked} ${background ? "--background ${background}" : ''} --facts ${facts} --batch ${meta.block} --output cells
    """

    stub:
    """
    stub.sh cells/ cells.manifest.json crop_cells.${meta.block}.provenance.json
    """
}
