process STACK_MOTOR_ONLY {
    tag "${subject}"
    label 'process_medium'

    input:
    val subject
    tuple path(volumes), path(manifests)
    path config
    val flags

    output:
    tuple path("published/diagnostics/motor_only_stack/${subject}_motor_only.ome.zarr"), path("published/diagnostics/motor_only_stack/${subject}_motor_only.ome.zarr.manifest.json"), emit: volume
    path "published/diagnostics/motor_only_stack/${subject}_motor_only.png", emit: pictures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    def out = "published/diagnostics/motor_only_stack/${subject}_motor_only"
    """
    stack_motor_only.py ${flags} --volumes ${volumes} --config ${config} --name ${subject} --output ${out}.ome.zarr --picture ${out}.png
    """

    stub:
    def out = "published/diagnostics/motor_only_stack/${subject}_motor_only"
    """
    stub.sh ${out}.ome.zarr/ ${out}.ome.zarr.manifest.json ${out}.png stack_motor_only.${subject}.provenance.json
    """
}
