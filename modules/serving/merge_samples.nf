process MERGE_SAMPLES {
    label 'process_single'

    input:
    path(traces, stageAs: 'traces/*')
    path(inspected, stageAs: 'inspected/*')
    path sheet
    path facts
    val flags

    output:
    path 'published/merged/*', emit: tables
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    merge_samples.py ${flags} --traces traces ${inspected ? "--inspected ${inspected}" : ''} --sheet ${sheet} --facts ${facts} --output published/merged
    """

    stub:
    """
    stub.sh published/merged/stub.csv merge_samples.provenance.json
    """
}
