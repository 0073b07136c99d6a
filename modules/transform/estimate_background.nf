process ESTIMATE_BACKGROUND {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(movie), path(movie_manifest), path(labels), path(labels_manifest)
    path facts
    tuple path(plugins), val(plugins_fingerprint)
    val flags

    output:
    tuple val(meta), path('background'), path('background.manifest.json'), emit: background
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    estimate_background.py ${flags} --movie ${movie} ${labels ? "--labels ${labels}" : ''} --facts ${facts} --batch ${meta.block} ${plugins ? "--plugins ${plugins}" : ''} --output background
    """

    stub:
    """
    stub.sh background/ background.manifest.json estimate_background.${meta.block}.provenance.json
    """
}
