process GENERATE_SLICE_CONFIG {
    label 'process_single'

    input:
    path tiles
    path(galvo, stageAs: 'galvo/*')
    val flags

    output:
    path 'published/slice_config.csv', emit: tables
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    generate_slice_config.py ${flags} --tiles ${tiles} ${galvo ? '--galvo galvo' : ''} --tables published
    """

    stub:
    """
    stub.sh published/slice_config.csv generate_slice_config.provenance.json
    """
}
