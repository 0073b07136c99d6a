process COPY_MOVIE {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    path facts
    val meta
    val flags

    output:
    tuple val(meta), path('movie'), path('movie.manifest.json'), emit: movie
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    copy_movie.py ${flags} --source ${source} --facts ${facts} --batch ${meta.block} --output movie
    """

    stub:
    """
    stub.sh movie/ movie.manifest.json copy_movie.${meta.block}.provenance.json
    """
}
