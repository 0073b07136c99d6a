process SUMMARIZE {
    label 'process_single'

    input:
    path facts
    path(records, stageAs: 'records/?/*')
    val flags

    output:
    path 'published/processing_config.yaml', emit: config
    path 'published/tables/fovs.csv', emit: table
    path '*.provenance.json', emit: provenance

    script:
    """
    summarize.py ${flags} --facts ${facts} --records records --config published/processing_config.yaml --fovs published/tables/fovs.csv
    """

    stub:
    """
    stub.sh published/processing_config.yaml published/tables/fovs.csv summarize.provenance.json
    """
}
