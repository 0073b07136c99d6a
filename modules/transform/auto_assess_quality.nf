process AUTO_ASSESS_QUALITY {
    label 'process_single'

    input:
    tuple path(volumes), path(manifests)
    path shifts_xy
    path(config, stageAs: 'given/*')
    val flags

    output:
    path 'published/auto_assess_quality/slice_config.csv', emit: config
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    auto_assess_quality.py ${flags} --volumes ${volumes} --shifts_xy ${shifts_xy} --config ${config} --output published/auto_assess_quality/slice_config.csv
    """

    stub:
    """
    stub.sh published/auto_assess_quality/slice_config.csv auto_assess_quality.provenance.json
    """
}
