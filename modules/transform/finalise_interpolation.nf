process FINALISE_INTERPOLATION {
    label 'process_single'

    input:
    path(config, stageAs: 'given/*')
    path placed
    path stacked
    path(manifests, stageAs: 'gaps/*')
    val flags

    output:
    path 'published/finalise_interpolation/slice_config_final.csv', emit: config
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    finalise_interpolation.py ${flags} --config ${config} --placed ${placed} --stacked ${stacked} ${manifests ? "--manifests ${manifests}" : ''} --output published/finalise_interpolation/slice_config_final.csv
    """

    stub:
    """
    stub.sh published/finalise_interpolation/slice_config_final.csv finalise_interpolation.provenance.json
    """
}
