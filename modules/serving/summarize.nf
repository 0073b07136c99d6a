process SUMMARIZE {
    label 'process_single'

    input:
    path facts
    path(records, stageAs: 'records/?/*')
    val flags

    output:
    path 'processing_config.yaml', emit: config
    path 'fovs.csv', emit: table
    path '*.provenance.json', emit: provenance

    script:
    """
    summarize.py ${flags} --facts ${facts} --records records --config processing_config.yaml --fovs fovs.csv
    """

    stub:
    """
    stub.sh processing_config.yaml fovs.csv summarize.provenance.json
    """
}
