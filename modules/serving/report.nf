process REPORT {
    label 'process_single'

    input:
    path(records, stageAs: 'records/?/*')
    path(figures, stageAs: 'figures/*')
    path(tables, stageAs: 'tables/*')
    val name
    val flags

    output:
    path 'published/*', emit: report, optional: true
    path '*.provenance.json', emit: provenance

    script:
    """
    report.py ${flags} --records records ${figures ? '--figures figures' : ''} --tables tables --output published/${name}.html --archive published/${name}.zip
    """

    stub:
    """
    stub.sh published/${name}.html report.provenance.json
    """
}
