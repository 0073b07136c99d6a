process DETECT_REHOMING_EVENTS {
    label 'process_single'

    input:
    path shifts_xy
    path(config, stageAs: 'given/*')
    val flags

    output:
    path 'published/detect_rehoming_events/shifts_xy_clean.csv', emit: shifts
    path 'published/detect_rehoming_events/slice_config.csv', emit: config
    path 'published/detect_rehoming_events/rehoming_*', emit: diagnostics, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    def out = 'published/detect_rehoming_events'
    """
    detect_rehoming_events.py ${flags} --shifts_xy ${shifts_xy} --config ${config} --clean ${out}/shifts_xy_clean.csv --stamped ${out}/slice_config.csv --report ${out}/rehoming_report.json --plot ${out}/rehoming_plot.png
    """

    stub:
    """
    stub.sh published/detect_rehoming_events/shifts_xy_clean.csv published/detect_rehoming_events/slice_config.csv detect_rehoming_events.provenance.json
    """
}
