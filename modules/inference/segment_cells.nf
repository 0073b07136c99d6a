process SEGMENT_CELLS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(movie), path(movie_manifest)
    path facts
    tuple path(plugins), val(plugins_fingerprint)
    val flags

    output:
    tuple val(meta), path('labels'), path('labels.manifest.json'), emit: labels
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    segment_cells.py ${flags} --movie ${movie} --facts ${facts} --batch ${meta.block} ${plugins ? "--plugins ${plugins}" : ''} --output labels
    """

    stub:
    """
    stub.sh labels/ labels.manifest.json segment_cells.${meta.block}.provenance.json
    """
}
