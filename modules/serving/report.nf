process REPORT {
    label 'process_single'

    input:
    path(records, stageAs: 'records/?/*')
    path(figures, stageAs: 'figures/*')
    path(tables, stageAs: 'tables/*')
    val flags

    output:
    path 'published/report.html', emit: report
    path '*.provenance.json', emit: provenance

    script:
    """
    report.py ${flags} --records records ${figures ? '--figures figures' : ''} --tables tables --output published/report.html
    """

    stub:
    """
    stub.sh published/report.html report.provenance.json
    """
}
