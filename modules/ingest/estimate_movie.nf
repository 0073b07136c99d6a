process ESTIMATE_MOVIE {
    label 'process_single'

    input:
    path facts
    val flags

    output:
    path 'sizes.txt', emit: sizes
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    estimate_movie.py ${flags} --facts ${facts} --sizes sizes.txt
    """

    stub:
    """
    stub.sh sizes.txt estimate_movie.provenance.json
    """
}
