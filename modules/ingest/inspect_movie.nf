process INSPECT_MOVIE {
    label 'process_single'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    val flags

    output:
    path 'movie.json', emit: facts
    path 'batches.csv', emit: batches
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    inspect_movie.py ${flags} --source ${source} --facts movie.json --batch_list batches.csv
    """

    stub:
    """
    stub.sh movie.json 'batches.csv=id,block\\n0-0,0-0' inspect_movie.provenance.json
    """
}
