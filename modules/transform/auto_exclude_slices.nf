process AUTO_EXCLUDE_SLICES {
    label 'process_single'

    input:
    path metrics, stageAs: 'pair?/*'
    path config, stageAs: 'given/*'
    val flags

    output:
    path 'published/auto_exclude_slices/slice_config.csv', emit: config
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    auto_exclude_slices.py ${flags} ${metrics ? "--metrics ${metrics}" : ''} --config ${config} --output published/auto_exclude_slices/slice_config.csv
    """

    stub:
    """
    stub.sh published/auto_exclude_slices/slice_config.csv auto_exclude_slices.provenance.json
    """
}
