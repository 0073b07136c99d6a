process MOVIE_FIGURES {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(movie), path(movie_manifest), path(tracked), path(tracked_manifest), path(traces), path(traces_manifest)
    path facts
    val flags

    output:
    path 'published/figures/*', emit: figures, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    movie_figures.py ${flags} --movie ${movie} --tracked ${tracked} --traces ${traces} --facts ${facts} --batch ${meta.block} --output published/figures
    """

    stub:
    """
    stub.sh published/figures/fov_${meta.block}_1_cells.png published/figures/fov_${meta.block}_movie.gif movie_figures.${meta.block}.provenance.json
    """
}
